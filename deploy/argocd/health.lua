-- The health of a DAG, Job or Dataset of headrace.dev, as Argo CD shows it and waits for it: docs/gitops.md.
-- Progressing, and Degraded for what is stalled, are what kstatus calls InProgress and Failed. Of what it calls Current
-- this also tells what waits for a person (Suspended), and whose data are in trouble (Degraded).
-- Argo CD opens the libraries `base`, `package` and `table`; `string` is not there.
local status = obj.status or {}

local function condition(kind)
  for _, one in ipairs(status.conditions or {}) do
    if one.type == kind then
      return one
    end
  end
  return {}
end

local function said(health, one)
  return {status = health, message = one.message or one.reason or ""}
end

local stalled, reconciling, ready = condition("Stalled"), condition("Reconciling"), condition("Ready")
local degraded, fresh, rebuilding = condition("Degraded"), condition("Fresh"), condition("Rebuilding")

if status.observedGeneration ~= obj.metadata.generation then
  if reconciling.status == "True" and reconciling.observedGeneration == obj.metadata.generation then
    return said("Progressing", reconciling)
  end
  return {status = "Progressing", message = "the operator has not looked at this generation yet"}
end
if stalled.status == "True" then
  return said("Degraded", stalled)
end
if reconciling.status == "True" then
  return said("Progressing", reconciling)
end
if ready.status ~= "True" then
  return said("Progressing", ready)
end
if degraded.status == "True" then
  return said("Degraded", degraded)
end
-- Nothing made yet is how each dataset begins.
if fresh.status == "False" and fresh.reason == "Late" then
  return said("Degraded", fresh)
end
if obj.spec.suspend == true or status.state == "Suspended" then
  return {status = "Suspended", message = status.message or status.waitingFor or "suspended"}
end
if rebuilding.status == "True" and rebuilding.reason == "AwaitingApproval" then
  return said("Suspended", rebuilding)
end
-- A rebuild of hours is no deployment of hours: the version of before serves.
if rebuilding.status == "True" then
  return said("Healthy", rebuilding)
end
return {status = "Healthy", message = status.message or status.waitingFor or ready.message or ""}
