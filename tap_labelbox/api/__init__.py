"""What talks to Labelbox: requests, retries, failures, documents, pages."""
