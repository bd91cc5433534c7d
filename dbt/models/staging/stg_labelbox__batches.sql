-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('batches', [
    ('id', 'text'),
    ('project_id', 'text'),
    ('name', 'text'),
    ('size', 'integer'),
    ('consensus_settings', 'json'),
    ('created_by_id', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
]) }}
