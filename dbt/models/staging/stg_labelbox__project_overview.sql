-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('project_overview', [
    ('project_id', 'text'),
    ('snapshot_at', 'timestamp'),
    ('to_label', 'integer'),
    ('in_review', 'integer'),
    ('in_rework', 'integer'),
    ('skipped', 'integer'),
    ('done', 'integer'),
    ('labeled', 'integer'),
    ('total_data_rows', 'integer'),
    ('not_in_task_queue', 'integer'),
    ('issues', 'integer'),
    ('completed_data_row_count', 'integer'),
    ('counts', 'json'),
    ('additional_columns', 'json'),
]) }}
