"""GraphQL documents, one named operation a file."""
