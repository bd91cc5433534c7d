-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('catalog_data_rows', [
    ('data_row_id', 'text'),
    ('last_activity_at', 'timestamp'),
    ('external_id', 'text'),
    ('global_key', 'text'),
    ('row_data', 'text'),
    ('dataset_id', 'text'),
    ('dataset_name', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('created_by_email', 'text'),
    ('media_attributes', 'json'),
    ('attachments', 'json'),
    ('metadata_fields', 'json'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
