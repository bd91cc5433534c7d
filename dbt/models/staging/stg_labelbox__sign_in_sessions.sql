-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('sign_in_sessions', [
    ('session_id', 'text'),
    ('user_id', 'text'),
    ('email', 'text'),
    ('member_deleted', 'boolean'),
    ('started_at', 'timestamp'),
    ('start_kind', 'text'),
    ('status', 'text'),
    ('ended_at', 'timestamp'),
    ('end_reason', 'text'),
    ('end_derived', 'boolean'),
    ('expires_at', 'timestamp'),
    ('duration_seconds', 'integer'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
