-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('data_rows', [
    ('id', 'text'),
    ('dataset_id', 'text'),
    ('external_id', 'text'),
    ('global_key', 'text'),
    ('row_data', 'text'),
    ('media_attributes', 'json'),
    ('metadata_fields', 'json'),
    ('attachments', 'json'),
    ('created_by_id', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
