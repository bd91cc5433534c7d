"""Airbyte's protocol in place of Singer's: ``source-labelbox``.

The same streams, settings and states; only the messages differ. What Airbyte's own
models would make of them is checked by tests, so nothing more is installed.
"""
