"""JWT tokens and permissions as Lotus makes them.

A token is a JWT signed with HS256 whose payload is `{"Allow": [...]}` and which never expires. Permissions are a plain
set: `admin` does not contain `write`. Source: go-jsonrpc `auth/`, Lotus `api/permissioned.go`, `node/modules/core.go`.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import jwt

__all__ = ["ALL_PERMISSIONS", "DEFAULT_PERMISSIONS", "BadToken", "Permission", "TokenIssuer"]

_ALGORITHM: Final = "HS256"


class Permission(StrEnum):
    """What a token may allow."""

    READ = "read"
    WRITE = "write"
    SIGN = "sign"
    ADMIN = "admin"


ALL_PERMISSIONS: Final = (Permission.READ, Permission.WRITE, Permission.SIGN, Permission.ADMIN)
DEFAULT_PERMISSIONS: Final = frozenset({Permission.READ})  # of a request without any token


_MOST_REMEMBERED: Final = 100


class BadToken(ValueError):
    """A token that this node did not make, or text that is no token."""


class TokenIssuer:
    """Makes and checks the tokens of one node. Two nodes with the same secret accept each other's tokens."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret if secret is not None else secrets.token_bytes(32)
        self._verified: dict[str, list[str]] = {}  # its tokens never expire, so good ones stay good

    @property
    def secret(self) -> bytes:
        """The HS256 key, for a node that keeps its tokens valid over a restart."""
        return self._secret

    def issue(self, permissions: Iterable[Permission | str]) -> str:
        """A JWT allowing `permissions`. Unknown names are kept, as Lotus keeps them: they open nothing."""
        allow = [str(permission) for permission in permissions]
        return jwt.encode({"Allow": allow}, self._secret, algorithm=_ALGORITHM)

    def issue_base64(self, permissions: Iterable[Permission | str]) -> str:
        """What `AuthNew` answers: the JWT's bytes in base64, since Lotus returns a byte slice."""
        return base64.b64encode(self.issue(permissions).encode()).decode()

    def nobody(self) -> list[str]:
        """What a request without any token may do."""
        return [str(permission) for permission in DEFAULT_PERMISSIONS]

    def verify(self, token: str) -> list[str]:
        """The permissions that `token` allows, in its own order.

        Raises:
            BadToken: not a token of this node.
        """
        if token in self._verified:
            return list(self._verified[token])
        try:
            payload = jwt.decode(token, self._secret, algorithms=[_ALGORITHM])
        except jwt.InvalidTokenError as error:
            raise BadToken(f"JWT Verification failed: {error}") from error
        allow = payload.get("Allow")
        if not isinstance(allow, list) or not all(isinstance(name, str) for name in allow):
            raise BadToken("JWT Verification failed: the token has no list of permissions")
        if len(self._verified) >= _MOST_REMEMBERED:
            self._verified.clear()
        self._verified[token] = list(allow)
        return allow
