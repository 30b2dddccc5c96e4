# Sourced by the executables of this directory: finds a Python, makes the locked virtual environment where it is
# needed. Sets ROOT and PYTHON. Works from any directory and on a machine where nothing was installed by hand.

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
export PYTHONPATH=$ROOT

python_ok() {
  command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Prints nothing and sets PYTHON to an interpreter of 3.11 or newer; installs Debian's when there is none.
find_python() {
  local candidate
  for candidate in python3 /usr/bin/python3 python3.11 python3.12 python3.13 python3.14; do
    if python_ok "$candidate"; then
      PYTHON=$(command -v "$candidate")
      return 0
    fi
  done
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing python3 python3-venv" >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv; } >/dev/null
    if python_ok /usr/bin/python3; then
      PYTHON=/usr/bin/python3
      return 0
    fi
  fi
  echo "headrace: Python 3.11 or newer is missing on this machine" >&2
  exit 1
}

# Sets PYTHON to the interpreter of the virtual environment that requirements-dev.lock describes.
use_environment() {
  find_python
  PYTHON=$("$PYTHON" -m harness.environment)
}
