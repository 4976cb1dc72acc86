"""The pages of the demo's chat: conversations, bubbles with live ticks, a retry button. A host's own code, not the package's."""
