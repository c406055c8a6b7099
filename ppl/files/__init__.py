"""Files that are written whole or not at all, and documents that are safe to read from anybody."""
