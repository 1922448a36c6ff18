# Creates the existing bucket and the probes' users, each with one policy. Idempotent.
#
# Environment: MC_HOST_store (URL of the store with its root user), POLICIES (folder with the policies), and *_ACCESS_KEY
# and *_SECRET_KEY (keys of the users).
set -eu

# Passes secrets through stdin, because other processes can read arguments.
create_user() { # policy, access key, secret key
  mc admin policy create store "$1" "$POLICIES/$1.json"
  printf '%s\n%s\n' "$2" "$3" | mc admin user add store
  mc admin policy attach store "$1" --user "$2"
}

# Waits until the store accepts writes. The Job's deadline limits the wait.
mc ready store
mc mb --ignore-existing store/canary
create_user probe-policy "$EPHEMERAL_ACCESS_KEY" "$EPHEMERAL_SECRET_KEY"
create_user existing-bucket-policy "$EXISTING_ACCESS_KEY" "$EXISTING_SECRET_KEY"
