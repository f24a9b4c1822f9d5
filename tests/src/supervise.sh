# Runs one program for the tests and ends it with them, whichever way they end. Standard input is a pipe whose
# other end only the test process holds: it closes when that process lets go or dies, even by SIGKILL.
# Then the program is killed and the folder removed (unless REFLOAT_KEEP_TEST_DIRS is set).
# usage: sh -c "$(this)" supervise FOLDER NAME PROGRAM [ARGUMENT...]
# Leaves in FOLDER: NAME.log (its output), NAME.pid, and NAME.exit once it ended by itself.
dir=$1 name=$2
shift 2
# Ctrl-C reaches the whole process group; this one ends by the pipe.
trap '' INT TERM HUP
(
  "$@" >"$dir/$name.log" 2>&1 &
  echo $! >"$dir/$name.pid"
  wait $!
  echo $? >"$dir/$name.exit"
) &
# Read now: the supervisor of another program in this folder may be the first to remove it.
while [ ! -s "$dir/$name.pid" ]; do sleep 0.01; done
pid=$(cat "$dir/$name.pid")
cat >/dev/null
[ -e "$dir/$name.exit" ] || kill -9 "$pid"
wait
[ -n "$REFLOAT_KEEP_TEST_DIRS" ] || rm -rf "$dir"
