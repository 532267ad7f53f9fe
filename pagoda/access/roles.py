"""What a caller may do. A token stands for a role; one caller may have several."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["ask", "events", "users", "items", "operate", "watch"]
ROLES: tuple[Role, ...] = get_args(Role)
