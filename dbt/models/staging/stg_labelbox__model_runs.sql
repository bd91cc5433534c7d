-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('model_runs', [
    ('id', 'text'),
    ('model_id', 'text'),
    ('name', 'text'),
    ('created_by_id', 'text'),
    ('model_app_id', 'text'),
    ('training_metadata', 'json'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('cost', 'number'),
    ('status', 'text'),
    ('total_data_rows', 'integer'),
    ('additional_columns', 'json'),
]) }}
