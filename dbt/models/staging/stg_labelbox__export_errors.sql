-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('export_errors', [
    ('project_id', 'text'),
    ('task_id', 'text'),
    ('sequence', 'integer'),
    ('data_row_id', 'text'),
    ('message', 'text'),
    ('error', 'json'),
    ('last_activity_at', 'timestamp'),
    ('additional_columns', 'json'),
]) }}
