#!/bin/sh
# Makes a new localhost CA and a leaf signed by it. Needs openssl 3, nothing else; asks nothing.
# The CA's key exists only while this runs: nobody can sign anything else with it later.
set -eu
umask 077
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

CA_DAYS=3650
LEAF_DAYS=825 # the longest that every client accepts

openssl ecparam -name prime256v1 -genkey -noout -out "$work/ca.key"
openssl req -x509 -new -sha256 -key "$work/ca.key" -days "$CA_DAYS" -out "$work/ca.pem" \
    -subj "/CN=switchd development CA (localhost only)" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -addext "nameConstraints=critical,permitted;DNS:localhost,permitted;IP:127.0.0.0/255.0.0.0,permitted;IP:::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

cat >"$work/leaf.ext" <<EXT
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = DNS:localhost,DNS:app.localhost,DNS:odoo.localhost,DNS:*.app.localhost,IP:127.0.0.1,IP:::1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
EXT
openssl ecparam -name prime256v1 -genkey -noout -out "$work/localhost.ec"
openssl pkcs8 -topk8 -nocrypt -in "$work/localhost.ec" -out "$work/localhost.key"
openssl req -new -sha256 -key "$work/localhost.key" -subj "/CN=localhost" -out "$work/localhost.csr"
openssl x509 -req -sha256 -in "$work/localhost.csr" -days "$LEAF_DAYS" -extfile "$work/leaf.ext" \
    -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -out "$work/localhost.pem"

openssl verify -CAfile "$work/ca.pem" "$work/localhost.pem"
# The key of a certificate that only names localhost is no secret: tests of any user read it.
chmod 644 "$work/ca.pem" "$work/localhost.pem" "$work/localhost.key"
mv "$work/ca.pem" "$work/localhost.pem" "$work/localhost.key" .
openssl x509 -in localhost.pem -noout -subject -enddate
