"""Argo CD's Lua: 5.1 with the libraries that it opens, `base`, `package`, `table` and two functions of `os`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from lupa.lua51 import LuaRuntime, lua_type

ARGOCD = Path(__file__).parents[2] / "deploy" / "argocd"
NOW = 1767614400

_AS_ARGO = """
    local time, date = function() return NOW end, os.date
    debug.getmetatable("").__index = nil
    for _, name in ipairs({"string", "math", "io", "os", "debug", "coroutine"}) do
      _G[name] = nil
      package.loaded[name] = nil
    end
    package.path, package.cpath = "", ""
    package.preload["os"] = function() return {time = time, date = date} end
"""


def run(script: str, obj: dict[str, Any], params: dict[str, str] | None = None) -> Any:
    """What a script returns for an object, as Argo CD reads it: None for an empty table."""
    lua = LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    lua.execute(_AS_ARGO.replace("NOW", str(NOW)))
    lua.globals()["python"] = None
    lua.globals()["obj"] = _given(lua, copy.deepcopy(obj))
    if params is not None:
        lua.globals()["actionParams"] = _given(lua, params)
    return _taken(lua.execute(script))


def _given(lua: LuaRuntime, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: _given(lua, item) for key, item in value.items()})
    if isinstance(value, list):
        return lua.table_from([_given(lua, item) for item in value])
    return value


def _taken(value: Any) -> Any:
    if lua_type(value) != "table":
        return value
    items = {key: _taken(item) for key, item in value.items()}
    if items and all(isinstance(key, int) for key in items):
        assert sorted(items) == list(range(1, len(items) + 1)), "Argo CD takes no list with holes"
        return [items[key] for key in sorted(items)]
    assert all(isinstance(key, str) for key in items), "Argo CD takes no table of both kinds"
    return items or None
