# The only writer of departments' secrets and the only reader of organizations' admin keys.

path "secret/data/chatgrid/production/dept/*" {
  capabilities = ["create", "read", "update"]
}

path "secret/metadata/chatgrid/production/dept/*" {
  capabilities = ["delete"]
}

path "secret/data/chatgrid/production/inbox/*" {
  capabilities = ["read"]
}

path "secret/metadata/chatgrid/production/inbox/*" {
  capabilities = ["delete"]
}

path "secret/data/chatgrid/production/org/*" {
  capabilities = ["create", "read", "update"]
}
