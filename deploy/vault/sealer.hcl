# Signs the record. Nobody else reads this key.

path "secret/data/chatgrid/production/record/*" {
  capabilities = ["create", "read", "update"]
}
