select
    project_id,
    max(project_name) as project_name,
    date_week,
    labeler,
    count(*) as label_count,
    {{ labelbox.labelbox_integer('sum(case when is_skipped then 1 else 0 end)') }} as skipped_count,
    {{ labelbox.labelbox_number('avg(case when is_skipped then 1.0 else 0.0 end)') }} as skipped_share,
    {{ labelbox.labelbox_number('sum(coalesce(seconds_to_label, 0))') }} / 3600 as hours_labeling,
    avg(case when not is_skipped then seconds_to_label end) as seconds_per_label,
    {{ labelbox.labelbox_number('avg(case when not is_skipped then 1.0 * object_count end)') }} as objects_per_label,
    count(case when not is_skipped then agreement end) as compared_count,
    avg(case when not is_skipped then agreement end) as agreement,
    count(case when not is_skipped then benchmark_agreement end) as benchmarked_count,
    avg(case when not is_skipped then benchmark_agreement end) as benchmark_agreement,
    {{ labelbox.labelbox_integer('sum(case when review_count > 0 then 1 else 0 end)') }} as reviewed_count,
    {{ labelbox.labelbox_integer('sum(review_count)') }} as review_count,
    {{ labelbox.labelbox_number('sum(approval_count)') }} / nullif(sum(review_count), 0) as approval_share,
    {{ labelbox.labelbox_integer('sum(case when rework_count > 0 and not is_skipped then 1 else 0 end)') }} as reworked_count,
    avg(case
        when is_skipped then null
        when rework_count > 0 then {{ labelbox.labelbox_number('1') }}
        else {{ labelbox.labelbox_number('0') }}
    end) as rework_share,
    {{ labelbox.labelbox_number('sum(coalesce(seconds_to_rework, 0))') }} / 3600 as hours_reworking
from {{ ref('labelbox__labels') }}
where created_at is not null
group by project_id, date_week, labeler
