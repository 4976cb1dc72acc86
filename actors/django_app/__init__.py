"""The Django half: an app to install, a way to send after commit, checks, and the table of send attempts."""
