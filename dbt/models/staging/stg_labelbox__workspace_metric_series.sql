-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('workspace_metric_series', [
    ('metric', 'text'),
    ('date', 'date'),
    ('bucket', 'integer'),
    ('unit', 'text'),
    ('value', 'number'),
    ('range_start', 'number'),
    ('range_end', 'number'),
    ('numerator', 'number'),
    ('denominator', 'number'),
    ('seconds_creating', 'number'),
    ('seconds_reviewing', 'number'),
    ('seconds_reworking', 'number'),
    ('generated_at', 'timestamp'),
    ('organization_id', 'text'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
