-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('labeler_performance', [
    ('project_id', 'text'),
    ('user_id', 'text'),
    ('user_email', 'text'),
    ('count', 'integer'),
    ('seconds_per_label', 'number'),
    ('total_time_labeling', 'number'),
    ('consensus', 'number'),
    ('average_benchmark_agreement', 'number'),
    ('last_activity_time', 'timestamp'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
