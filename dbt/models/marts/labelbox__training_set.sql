{{ labelbox.labelbox_training_set(
    as_of=var('labelbox__training_as_of', none),
    statuses=var('labelbox__training_statuses', ['DONE']),
    least_agreement=var('labelbox__least_agreement', none),
) }}
