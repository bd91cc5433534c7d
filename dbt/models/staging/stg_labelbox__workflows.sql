-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('workflows', [
    ('project_id', 'text'),
    ('config', 'json'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
]) }}
