"""Talking to Labelbox: requests, retries, failures, documents, pages."""
