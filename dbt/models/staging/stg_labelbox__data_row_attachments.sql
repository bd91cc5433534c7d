-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('data_row_attachments', [
    ('project_id', 'text'),
    ('data_row_id', 'text'),
    ('last_activity_at', 'timestamp'),
    ('sequence', 'integer'),
    ('type', 'text'),
    ('name', 'text'),
    ('value', 'text'),
    ('additional_columns', 'json'),
]) }}
