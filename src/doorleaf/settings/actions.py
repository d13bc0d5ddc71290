"""What requests for documents may ask for, and the form of their answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from doorleaf.settings.checks import Names


class ActionSettings(BaseModel):
    """Settings of what requests for documents may ask for, and of the form of their answers."""

    app_ids: Names = Field(default=(), description="App ids that `/app/<id>/…` paths may have; empty allows any.")
    max_documents: int = Field(default=50_000, ge=1, description="Most documents that one answer may have.")
    max_result_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=0,
        description="Most bytes of documents that one answer may have, 0 for no limit of its own.",
    )
    default_limit: int = Field(default=1000, ge=1, description="`limit` of a find that has none.")
    default_max_time_ms: int = Field(
        default=30_000, ge=1, description="Time limit of an operation without `maxTimeMS`, in milliseconds."
    )
    max_time_ms_cap: int = Field(default=300_000, ge=1, description="Largest `maxTimeMS` a request may ask for.")
    max_scan_documents: int = Field(
        default=0,
        ge=0,
        description="Refuse what would scan a collection of more documents than this without an index; 0 refuses none.",
    )
    insert_status: int = Field(default=201, description="HTTP status of a successful insert: 201 or 200.")
    return_type: Literal["JSON", "EJSON"] = Field(
        default="JSON",
        description="Form of an action's answer where `Accept` asks for none: EJSON is canonical Extended JSON.",
    )
    plain_numbers: Literal["exact", "atlas"] = Field(
        default="exact",
        description="Plain JSON: `exact` keeps the point of a double and the milliseconds of a date, `atlas` writes "
        "`10` and `…:47Z` for whole ones, as Go does.",
    )

    @field_validator("insert_status")
    @classmethod
    def _is_success(cls, status: int) -> int:
        if status not in (200, 201):
            raise ValueError("must be 200 or 201")
        return status

    @model_validator(mode="after")
    def _is_below_its_cap(self) -> ActionSettings:
        if self.default_limit > self.max_documents:
            raise ValueError(f"default_limit: {self.default_limit} is above max_documents ({self.max_documents})")
        if self.default_max_time_ms > self.max_time_ms_cap:
            raise ValueError(f"default_max_time_ms: above max_time_ms_cap ({self.max_time_ms_cap})")
        return self
