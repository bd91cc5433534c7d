"""Programs that read the same as the tap, each in the way of its kind.

Each is given a file with ``api_url``, ``api_key`` and ``project_ids``.
"""
