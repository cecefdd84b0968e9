# The process that faces people: reads departments' secrets, and puts pasted keys into the inbox without
# being able to read them back. Replace `production` by the value of CHATGRID_ENVIRONMENT.

path "secret/data/chatgrid/production/dept/*" {
  capabilities = ["read"]
}

path "secret/data/chatgrid/production/inbox/+/openai/labels" {
  capabilities = ["create", "read"]
}

path "secret/data/chatgrid/production/inbox/+/openai/versions/*" {
  capabilities = ["create"]
}
