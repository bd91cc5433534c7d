-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('data_row_metadata', [
    ('project_id', 'text'),
    ('data_row_id', 'text'),
    ('last_activity_at', 'timestamp'),
    ('schema_id', 'text'),
    ('sequence', 'integer'),
    ('schema_name', 'text'),
    ('schema_kind', 'text'),
    ('value_string', 'text'),
    ('value_number', 'number'),
    ('value_datetime', 'timestamp'),
    ('option_id', 'text'),
    ('option_name', 'text'),
    ('additional_columns', 'json'),
]) }}
