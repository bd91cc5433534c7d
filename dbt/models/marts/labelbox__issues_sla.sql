with issues as (
    select
        issues.*,
        case when resolved_at is null and coalesce(status, '') <> 'Resolved' then 1 else 0 end as open_number
    from {{ ref('stg_labelbox__issues') }} as issues
),

comments as (
    select
        issue_id,
        count(*) as comment_count,
        min(created_at) as first_reply_at
    from {{ ref('stg_labelbox__issue_comments') }}
    group by issue_id
),

people as (
    select * from {{ ref('int_labelbox__people') }}
),

timed as (
    select
        issues.id as issue_id,
        issues.friendly_id,
        issues.project_id,
        projects.name as project_name,
        issues.data_row_id,
        issues.label_id,
        categories.name as category,
        issues.status,
        issues.open_number = 1 as is_open,
        {{ labelbox.labelbox_labeler('raisers.email', 'issues.created_by_id') }} as raised_by,
        coalesce(resolvers.email, issues.resolved_by_id) as resolved_by,
        issues.created_at,
        {{ labelbox.labelbox_day('issues.created_at') }} as date_day,
        comments.first_reply_at,
        coalesce(comments.comment_count, 0) as comment_count,
        issues.resolved_at,
        {{ labelbox.labelbox_seconds('issues.created_at', 'comments.first_reply_at') }} / 3600.0
            as hours_to_first_reply,
        {{ labelbox.labelbox_seconds('issues.created_at', 'issues.resolved_at') }} / 3600.0
            as hours_to_resolve,
        case
            when issues.open_number = 1
                then {{ labelbox.labelbox_seconds('issues.created_at', labelbox.labelbox_as_of()) }} / 3600.0
            else {{ labelbox.labelbox_seconds('issues.created_at', 'issues.resolved_at') }} / 3600.0
        end as hours_open
    from issues
    left join comments on issues.id = comments.issue_id
    left join {{ ref('stg_labelbox__projects') }} as projects on issues.project_id = projects.id
    left join {{ ref('stg_labelbox__issue_categories') }} as categories
        on issues.category_id = categories.id
    left join people as raisers on issues.created_by_id = raisers.user_id
    left join people as resolvers on issues.resolved_by_id = resolvers.user_id
)

select
    timed.*,
    hours_open <= {{ var('labelbox__sla_hours', 72) }} as is_in_time
from timed
