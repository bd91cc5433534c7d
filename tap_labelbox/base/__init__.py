"""The kinds of streams, and the workspace that they share."""
