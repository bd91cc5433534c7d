-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('issue_comments', [
    ('id', 'text'),
    ('issue_id', 'text'),
    ('project_id', 'text'),
    ('content', 'text'),
    ('created_by_id', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
]) }}
