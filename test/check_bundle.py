"""A second pair of eyes: checks a proof bundle with nothing of this project's code.

Written after bundle.cddl, RFC 9052 (COSE), RFC 8949 (CBOR) and RFC 9162 s2.1 (Merkle trees), with the standard
library and the openssl command line only. Prints one line for each check and ends with 1 at the first that fails.
Usage: check_bundle.py BUNDLE
"""
import hashlib
import os
import subprocess
import sys
import tempfile


def sha256(data):
    return hashlib.sha256(data).digest()


class Reader:
    """CBOR as far as a bundle has it: integers, byte and text strings, arrays, maps, tags."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise ValueError("the bytes end too early")
        self.at += count
        return part

    def value(self):
        head = self.take(1)[0]
        kind, info = head >> 5, head & 31
        if info < 24:
            number = info
        elif info < 28:
            number = int.from_bytes(self.take(1 << (info - 24)), "big")
        else:
            raise ValueError(f"head {head:#x}")
        if kind == 0:
            return number
        if kind == 1:
            return -1 - number
        if kind == 2:
            return self.take(number)
        if kind == 3:
            return self.take(number).decode("utf-8")
        if kind == 4:
            return [self.value() for _ in range(number)]
        if kind == 5:
            return {self.value(): self.value() for _ in range(number)}
        if kind == 6:
            return (number, self.value())
        raise ValueError(f"head {head:#x}")


def decode(data):
    reader = Reader(data)
    value = reader.value()
    if reader.at != len(data):
        raise ValueError("there are bytes behind the end")
    return value


def byte_string(data):
    length = len(data)
    if length < 24:
        return bytes([0x40 + length]) + data
    if length < 256:
        return bytes([0x58, length]) + data
    return bytes([0x59]) + length.to_bytes(2, "big") + data


def sig_structure(protected, network, payload):
    """RFC 9052 s4.4, with the network as external_aad."""
    parts = [protected, network.encode(), payload]
    return b"\x84\x6aSignature1" + b"".join(byte_string(part) for part in parts)


def openssl_verifies(public_key, message, signature):
    """Ed25519 (RFC 8032) by openssl; the key goes in as SubjectPublicKeyInfo (RFC 8410 s4)."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("key", "message", "signature")]
        der = bytes.fromhex("302a300506032b6570032100") + public_key
        for path, data in zip(paths, (der, message, signature)):
            with open(path, "wb") as file:
                file.write(data)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin"]
        command += ["-inkey", paths[0], "-in", paths[1], "-sigfile", paths[2]]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def check_sign1(data, network, public_key):
    """The payload and protected header of a COSE_Sign1 whose signature fits."""
    tag, (protected, unprotected, payload, signature) = decode(data)
    header = decode(protected)
    assert tag == 18 and unprotected == {}, "no COSE_Sign1 as agreed"
    assert header[1] in (-19, -8), f"algorithm {header[1]}"
    assert header[4] == sha256(public_key)[:16], "the kid is of another key"
    assert openssl_verifies(public_key, sig_structure(protected, network, payload), signature), "the signature is wrong"
    return header, payload


def leaf_hash(data):
    return sha256(b"\x00" + data)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


def range_root(leaves, first, size, proof):
    """The root of a tree of which neighbouring leaves are known, and the roots of what lies around them."""
    rest = iter(proof)

    def root(low, high):
        if high <= first or low >= first + len(leaves):
            return next(rest)
        if high - low == 1:
            return leaves[low - first]
        split = 1
        while split * 2 < high - low:
            split *= 2
        left = root(low, low + split)
        return node_hash(left, root(low + split, high))

    found = root(0, size)
    assert next(rest, None) is None, "the proof is too long"
    return found


def path_root(leaf, index, size, path):
    """RFC 9162 s2.1.3.2."""
    at, last, found = index, size - 1, leaf
    for hash_ in path:
        assert last > 0, "the path is too long"
        if at & 1 or at == last:
            found = node_hash(hash_, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, hash_)
        at, last = at >> 1, last >> 1
    assert last == 0, "the path is too short"
    return found


def main(path):
    with open(path, "rb") as file:
        data = file.read()
    bundle = decode(data)
    assert bundle[0] == 2, "another version"
    network = bundle[1]
    keys = {}
    for station, public_key, *_ in bundle[3]:
        assert sha256(public_key)[:16] == station, "a key of another station"
        keys[station] = public_key
    print(f"keys {len(keys)}")
    signatures = leaves_seen = 0
    for statement, anchor, runs in bundle[4]:
        said = decode(statement)
        assert said[0] == network, "a statement of another network"
        for station, first, leaves, proof in runs:
            hashes = []
            for leaf in leaves:
                if isinstance(leaf, bytes):
                    check_sign1(leaf, network, keys[station])
                    signatures += 1
                    hashes.append(leaf_hash(leaf))
                else:
                    hashes.append(leaf[1])
            assert range_root(hashes, first, said[2], proof) == said[3], "leaves are not under the root of their batch"
            leaves_seen += len(leaves)
        root, size, index, audit_path = anchor[5:9]
        assert path_root(leaf_hash(statement), index, size, audit_path) == root, "a statement is not under the anchored root"
        print(f"root {root.hex()}")
    print(f"signatures {signatures}")
    print(f"leaves {leaves_seen}")
    if 7 in bundle:
        hub_key, receipt = bundle[7]
        header, payload = check_sign1(receipt, network, hub_key)
        assert header[3] == "application/vnd.groundtruth.sale+cbor", "no sales receipt"
        sale = decode(payload)
        print(f"sale {sale[1]} {sale[7]} {sale[4].hex()}")
    assert sha256(data[:-32]) == bundle[8], "the checksum is wrong"
    print("ok")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (AssertionError, ValueError, LookupError, TypeError) as error:
        print(f"failed: {error}")
        sys.exit(1)
