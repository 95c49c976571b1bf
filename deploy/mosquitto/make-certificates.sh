#!/bin/sh
# Certificates for a test bench: an authority of your own, one for the broker, one for each client.
#
#   sh make-certificates.sh FOLDER broker NAME...     NAMEs and addresses under which clients reach the broker
#   sh make-certificates.sh FOLDER client USER        USER logs in by its certificate instead of a password
#
# The first call makes FOLDER/ca.crt, which every client gets, and FOLDER/ca.key, which nobody does. DAYS=90 sets how
# long a certificate is valid (825 where it is left out). What is there already is kept: to renew it, delete it first.
set -eu
umask 077
usage() { sed -n '4,5s/^# *//p' "$0" >&2; exit 2; }
[ $# -ge 3 ] || usage
folder=$1 kind=$2
shift 2
mkdir -p "$folder"
chmod 755 "$folder"
days=${DAYS:-825}
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

if [ ! -f "$folder/ca.crt" ]; then
    key "$folder/ca.key"
    openssl req -x509 -new -key "$folder/ca.key" -days 3650 -subj "/CN=Lineside test bench $(date +%s)" \
        -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign -out "$folder/ca.crt"
    chmod 644 "$folder/ca.crt"
fi

# issue FILE SUBJECT USAGE ALTERNATIVE_NAMES
issue() {
    if [ -f "$folder/$1.crt" ]; then
        echo "$folder/$1.crt is there already" >&2
        exit 1
    fi
    key "$folder/$1.key"
    {
        echo "basicConstraints=critical,CA:false"
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=$3"
        echo "subjectKeyIdentifier=hash"
        echo "authorityKeyIdentifier=keyid"
        [ -z "$4" ] || echo "subjectAltName=$4"
    } >"$folder/$1.ext"
    openssl req -new -key "$folder/$1.key" -subj "/CN=$2" -out "$folder/$1.csr"
    openssl x509 -req -in "$folder/$1.csr" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -CAcreateserial -days "$days" \
        -extfile "$folder/$1.ext" -out "$folder/$1.crt" 2>/dev/null
    rm "$folder/$1.csr" "$folder/$1.ext"
    chmod 644 "$folder/$1.crt"
}

case $kind in
broker)
    names=""
    for name in "$@"; do
        case $name in
        *:*) names="$names,IP:$name" ;;
        *[!0-9.]*) names="$names,DNS:$name" ;;
        *) names="$names,IP:$name" ;;
        esac
    done
    issue broker "$1" serverAuth "${names#,}"
    ;;
client) issue "$1" "$1" clientAuth "" ;;
*) usage ;;
esac
