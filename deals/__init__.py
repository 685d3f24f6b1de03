"""See the design notes in the modules."""
