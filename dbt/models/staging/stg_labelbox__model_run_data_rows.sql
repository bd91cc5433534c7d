-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('model_run_data_rows', [
    ('model_run_id', 'text'),
    ('id', 'text'),
    ('data_row_id', 'text'),
    ('label_id', 'text'),
    ('data_split', 'text'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
