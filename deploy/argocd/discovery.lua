-- What can be done with a DAG now. A list of all: Argo CD greys out those that are disabled.
local status = obj.status or {}
local rollout, tasks, version = status.rollout or {}, status.tasks or {}, status.version
local under_way = rollout.state == "Building" or rollout.state == "Ready"
local waits = under_way and (rollout.waitingFor or "") ~= ""
local failed = (tasks.failed or 0) > 0 or rollout.state == "Failed"
local open = (tasks.failed or 0) + (tasks.waiting or 0) + (tasks.running or 0) > 0
local suspended = obj.spec.suspend == true
local pinned = status.pinned ~= nil

local source
for _, job in ipairs(obj.spec.jobs or {}) do
  if job.source ~= nil and source == nil then
    source = job.name
  end
end

local actions = {}
actions["approve"] = {disabled = not waits, iconClass = "fa fa-fw fa-check", displayName = "Approve the rollout"}
actions["retry"] = {disabled = not failed, iconClass = "fa fa-fw fa-redo", displayName = "Retry what failed"}
actions["cancel-rollout"] = {disabled = not under_way, iconClass = "fa fa-fw fa-ban", displayName = "Cancel the rollout"}
actions["cancel"] = {
  disabled = not (open or under_way), iconClass = "fa fa-fw fa-stop", displayName = "Cancel all work",
}
actions["run"] = {disabled = version == nil, iconClass = "fa fa-fw fa-play", displayName = "Run a source"}
actions["run"]["params"] = {{name = "job", default = source or ""}}
actions["pin"] = {disabled = version == nil or pinned, iconClass = "fa fa-fw fa-thumbtack", displayName = "Pin a version"}
if version ~= nil then
  actions["pin"]["params"] = {{name = "yamlHash", default = version.yamlHash}}
end
actions["unpin"] = {disabled = not pinned, iconClass = "fa fa-fw fa-unlink", displayName = "Unpin"}
actions["suspend"] = {disabled = suspended, iconClass = "fa fa-fw fa-pause", displayName = "Suspend"}
actions["resume"] = {disabled = not suspended, iconClass = "fa fa-fw fa-play-circle", displayName = "Resume"}
return actions
