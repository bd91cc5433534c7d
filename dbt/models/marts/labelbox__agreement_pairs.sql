with labels as (
    select * from {{ ref('labelbox__labels') }} where not is_skipped
),

pairs as (
    select
        one.project_id,
        one.data_row_id,
        one.labeler as labeler_a,
        other.labeler as labeler_b,
        one.label_id as label_a,
        other.label_id as label_b
    from labels as one
    inner join labels as other
        on one.project_id = other.project_id
        and one.data_row_id = other.data_row_id
        and one.labeler < other.labeler
),

-- Where in the data row: both have to be about the same frame, page, view or message.
annotations as (
    select
        project_id,
        data_row_id,
        label_id,
        annotation_id,
        annotation_type,
        annotation_kind,
        depth,
        feature_key,
        feature_name,
        ontology_id,
        answer_key,
        box_left,
        box_top,
        box_width,
        box_height,
        {{ labelbox.labelbox_key(['frame', 'page_number', 'group_name', 'message_id']) }} as place
    from {{ ref('labelbox__annotations') }}
),

answers as (
    select
        project_id,
        data_row_id,
        label_id,
        feature_key,
        place,
        {{ labelbox.labelbox_list('answer_key') }} as answer
    from annotations
    where
        annotation_type = 'answer'
        and annotation_kind <> 'Text'
        and depth = 0
        and answer_key is not null
    group by project_id, data_row_id, label_id, feature_key, place
),

asked as (
    select distinct
        pairs.project_id,
        pairs.data_row_id,
        pairs.labeler_a,
        pairs.labeler_b,
        pairs.label_a,
        pairs.label_b,
        answers.feature_key,
        answers.place
    from pairs
    inner join answers
        on pairs.project_id = answers.project_id
        and pairs.data_row_id = answers.data_row_id
        and (pairs.label_a = answers.label_id or pairs.label_b = answers.label_id)
),

answered as (
    select
        asked.project_id,
        asked.data_row_id,
        asked.feature_key,
        asked.labeler_a,
        asked.labeler_b,
        coalesce(one.answer, '') as answer_a,
        coalesce(other.answer, '') as answer_b
    from asked
    left join answers as one
        on asked.project_id = one.project_id
        and asked.data_row_id = one.data_row_id
        and asked.label_a = one.label_id
        and asked.feature_key = one.feature_key
        and asked.place = one.place
    left join answers as other
        on asked.project_id = other.project_id
        and asked.data_row_id = other.data_row_id
        and asked.label_b = other.label_id
        and asked.feature_key = other.feature_key
        and asked.place = other.place
),

compared_answers as (
    select
        project_id,
        feature_key,
        labeler_a,
        labeler_b,
        count(distinct data_row_id) as data_row_count,
        count(*) as item_count,
        {{ labelbox.labelbox_integer('sum(case when answer_a = answer_b then 1 else 0 end)') }} as agreed_count
    from answered
    group by project_id, feature_key, labeler_a, labeler_b
),

-- How often each of the two gave each answer.
frequencies as (
    select project_id, feature_key, labeler_a, labeler_b, answer_a as answer, 1 as by_a, 0 as by_b
    from answered
    union all
    select project_id, feature_key, labeler_a, labeler_b, answer_b as answer, 0 as by_a, 1 as by_b
    from answered
),

products as (
    select
        project_id,
        feature_key,
        labeler_a,
        labeler_b,
        1.0 * sum(by_a) * sum(by_b) as product
    from frequencies
    group by project_id, feature_key, labeler_a, labeler_b, answer
),

chances as (
    select
        project_id,
        feature_key,
        labeler_a,
        labeler_b,
        cast(sum(product) as {{ labelbox.labelbox_type('number') }}) as product
    from products
    group by project_id, feature_key, labeler_a, labeler_b
),

boxes as (
    select *
    from annotations
    where annotation_type = 'object' and box_width > 0 and box_height > 0
),

touching as (
    select
        pairs.*,
        one.feature_key,
        one.annotation_id as box_a,
        other.annotation_id as box_b,
        one.box_width * one.box_height + other.box_width * other.box_height as areas,
        (
            least(one.box_left + one.box_width, other.box_left + other.box_width)
            - greatest(one.box_left, other.box_left)
        ) * (
            least(one.box_top + one.box_height, other.box_top + other.box_height)
            - greatest(one.box_top, other.box_top)
        ) as intersection_area
    from pairs
    inner join boxes as one
        on pairs.project_id = one.project_id
        and pairs.data_row_id = one.data_row_id
        and pairs.label_a = one.label_id
    inner join boxes as other
        on pairs.project_id = other.project_id
        and pairs.data_row_id = other.data_row_id
        and pairs.label_b = other.label_id
        and one.feature_key = other.feature_key
        and one.place = other.place
    where
        one.box_left < other.box_left + other.box_width
        and other.box_left < one.box_left + one.box_width
        and one.box_top < other.box_top + other.box_height
        and other.box_top < one.box_top + one.box_height
),

measured as (
    select
        touching.*,
        1.0 * intersection_area / (areas - intersection_area) as iou
    from touching
),

ranked as (
    select
        measured.*,
        row_number() over (
            partition by project_id, label_a, label_b, box_a order by iou desc, box_b
        ) as place_for_a,
        row_number() over (
            partition by project_id, label_a, label_b, box_b order by iou desc, box_a
        ) as place_for_b
    from measured
),

box_counts as (
    select
        pairs.project_id,
        pairs.data_row_id,
        pairs.labeler_a,
        pairs.labeler_b,
        boxes.feature_key,
        1 as box_count,
        0 as match_count,
        0 as agreed_count,
        0 as iou
    from pairs
    inner join boxes
        on pairs.project_id = boxes.project_id
        and pairs.data_row_id = boxes.data_row_id
        and (pairs.label_a = boxes.label_id or pairs.label_b = boxes.label_id)
    union all
    select
        project_id,
        data_row_id,
        labeler_a,
        labeler_b,
        feature_key,
        0 as box_count,
        1 as match_count,
        case when iou >= {{ var('labelbox__iou_threshold', 0.5) }} then 1 else 0 end as agreed_count,
        iou
    from ranked
    where place_for_a = 1 and place_for_b = 1
),

compared_boxes as (
    select
        project_id,
        feature_key,
        labeler_a,
        labeler_b,
        count(distinct data_row_id) as data_row_count,
        {{ labelbox.labelbox_integer('sum(box_count) - sum(match_count)') }} as item_count,
        {{ labelbox.labelbox_integer('sum(agreed_count)') }} as agreed_count,
        {{ labelbox.labelbox_integer('sum(match_count)') }} as matched_box_count,
        {{ labelbox.labelbox_number('sum(iou)') }} as iou
    from box_counts
    group by project_id, feature_key, labeler_a, labeler_b
),

compared as (
    select
        answers.project_id,
        answers.feature_key,
        'answer' as annotation_type,
        answers.labeler_a,
        answers.labeler_b,
        answers.data_row_count,
        answers.item_count,
        answers.agreed_count,
        {{ labelbox.labelbox_number('answers.agreed_count') }} / answers.item_count as observed_agreement,
        chances.product / answers.item_count / answers.item_count as expected_agreement,
        -- (po - pe) / (1 - pe), in whole numbers as far as they go.
        (1.0 * answers.agreed_count * answers.item_count - chances.product)
            / nullif(1.0 * answers.item_count * answers.item_count - chances.product, 0) as kappa,
        null as matched_box_count,
        null as mean_matched_iou,
        null as mean_iou
    from compared_answers as answers
    inner join chances
        on answers.project_id = chances.project_id
        and answers.feature_key = chances.feature_key
        and answers.labeler_a = chances.labeler_a
        and answers.labeler_b = chances.labeler_b
    union all
    select
        project_id,
        feature_key,
        'box' as annotation_type,
        labeler_a,
        labeler_b,
        data_row_count,
        item_count,
        agreed_count,
        {{ labelbox.labelbox_number('agreed_count') }} / item_count as observed_agreement,
        null as expected_agreement,
        null as kappa,
        matched_box_count,
        iou / nullif(matched_box_count, 0) as mean_matched_iou,
        iou / item_count as mean_iou
    from compared_boxes
),

names as (
    select
        project_id,
        feature_key,
        max(feature_name) as feature_name,
        max(ontology_id) as ontology_id
    from annotations
    group by project_id, feature_key
),

projects as (
    select project_id, max(project_name) as project_name
    from labels
    group by project_id
)

select
    compared.project_id,
    projects.project_name,
    compared.feature_key,
    coalesce(features.name, names.feature_name) as feature_name,
    compared.annotation_type,
    compared.labeler_a,
    compared.labeler_b,
    compared.data_row_count,
    compared.item_count,
    compared.agreed_count,
    compared.observed_agreement,
    compared.expected_agreement,
    compared.kappa,
    compared.matched_box_count,
    compared.mean_matched_iou,
    compared.mean_iou
from compared
inner join projects on compared.project_id = projects.project_id
inner join names
    on compared.project_id = names.project_id
    and compared.feature_key = names.feature_key
left join {{ ref('labelbox__features') }} as features
    on names.ontology_id = features.ontology_id
    and names.feature_key = features.feature_key
