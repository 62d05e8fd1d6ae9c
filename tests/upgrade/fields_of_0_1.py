"""The fields that release 0.1 knows of each record; it refuses records with others. Never changed."""

from collections.abc import Mapping

FIELDS: Mapping[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "AuditEntry": "format at who what version domain round_id why forced details",
        "Candidate": "version share shadow_share",
        "CapturedSnapshot": "format domain shards labelled held_out",
        "Check": "name value bound threshold passed explanation",
        "Claim": "format version claimed_at claimed_by origin round_id nonce",
        "Collected": "format version collected_at collected_by",
        "Copied": "name sha256 frames copied_from",
        "CurvePoint": "step done numbers",
        "DomainPlan": "serving previous candidate prior_id log_prior_ratio",
        "Erasure": "format vehicle requested_at",
        "Event": "at text",
        "FrameMetadata": (
            "format key domain gateway vehicle drive captured_at model_version prior_id image size_hw "
            "mean_confidence class_fractions presence mean_probability kept_for"
        ),
        "Heartbeat": (
            "format gateway started_at written_at plan_revision versions free_bytes presence_dropped "
            "capture_dropped shadow_dropped erasures_applied engine_busy_share"
        ),
        "LeaseRecord": "format epoch holder lasts_s released renewed_at nonce",
        "LedgerEntry": "format version manifest_sha256 published_at published_by origin round_id",
        "LiveEstimate": "estimated_at frames effective_frames resampled share low high log_ratio",
        "Manifest": (
            "format version parent anchor created_at engine precision network windows frame_size label_space "
            "source_pixel_frequency source_presence output_prior output_prior_is calibration_temperature "
            "atc_threshold evaluation recipe parent_sha256 round_digest snapshot_digest seed files_sha256"
        ),
        "NetworkConfig": "encoder head num_classes detail dims",
        "Opinion": "annotator label at seconds",
        "Pins": "format pinned",
        "PriorRecord": "format domain frozen since estimates",
        "Progress": "format step done total numbers paused worked_s curve",
        "RegionBatch": "format id domain asked_by asked_at clicks random_seed double_share phase reason tasks",
        "RegionTask": (
            "number frame_sha256 vehicle drive size_hw box runs predicted model_version score people "
            "is_left_open opinions leases skipped"
        ),
        "Request": "domain recipe minutes seed trigger force",
        "RoundState": (
            "format id request requested_by created_at changed_at phase start_version from_anchor frames "
            "sight crashes version reason collapsed cancelled_by events"
        ),
        "ServingPlan": "format revision written_at lease_epoch default domains",
        "Sight": "version log_ratio mean_confidence frames",
        "Skip": "annotator at why",
        "TaskLease": "annotator since until call",
        "TriggerBook": "format rules set_at surest",
        "TriggerRule": "interval_s drift min_new_frames recipe minutes",
        "Verdict": "format checks passed",
        "VersionHealth": (
            "loaded trouble last_success requests errors p50_s p99_s engine_p99_s shadow_frames disagreement compared"
        ),
        "VoidEntry": "format version void decided_at decided_by",
        "WindowConfig": "outer_crop outer_stride detail_crop detail_stride",
    }.items()
}
