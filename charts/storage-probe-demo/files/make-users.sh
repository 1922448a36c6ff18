# Makes the bucket that is there before its probe, and the probes' users, each with the rights of one policy. May be run
# again at any time.
#
# MC_HOST_store: the store and its root user; POLICIES: the folder of the policies; *_ACCESS_KEY, *_SECRET_KEY: the users.
set -eu

# Secrets go by stdin: arguments can be read by every process.
make_user() { # policy, access key, secret key
  mc admin policy create store "$1" "$POLICIES/$1.json"
  printf '%s\n%s\n' "$2" "$3" | mc admin user add store
  mc admin policy attach store "$1" --user "$2"
}

# Ends when the store can take writes; the Job's deadline limits how long that may take.
mc ready store
mc mb --ignore-existing store/canary
make_user probe-policy "$EPHEMERAL_ACCESS_KEY" "$EPHEMERAL_SECRET_KEY"
make_user existing-bucket-policy "$EXISTING_ACCESS_KEY" "$EXISTING_SECRET_KEY"
