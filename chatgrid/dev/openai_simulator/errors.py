"""The provider's errors: always `{"error": {"message", "type", "param", "code"}}`, told apart by code, then status."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refusal as the provider words it. `code` is what a client should decide on; `type` is coarse."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        type: str = "invalid_request_error",
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.type = type
        self.param = param
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None, code: str | None = None) -> ApiError:
    """A 400 about one field of the request."""
    return ApiError(400, message, code=code, param=param)


def model_not_found(model: str) -> ApiError:
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ApiError(404, message, code="model_not_found")
