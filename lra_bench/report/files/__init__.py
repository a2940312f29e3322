"""Records as files: where they are, whether they are sound, and how submissions are put together."""
