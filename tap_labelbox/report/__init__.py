"""``tap-labelbox-report``: a page with what the dbt models say, in one file."""
