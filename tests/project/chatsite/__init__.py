"""A small chat product, as a host of chat-actors: the demo runs it, and so do the tests."""
