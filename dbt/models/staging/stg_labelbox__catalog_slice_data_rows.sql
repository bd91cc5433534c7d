-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('catalog_slice_data_rows', [
    ('slice_id', 'text'),
    ('data_row_id', 'text'),
    ('global_key', 'text'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
