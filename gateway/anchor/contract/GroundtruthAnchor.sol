// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Groundtruth anchor
/// @notice Keeps Merkle roots over batch statements. A root is written once, by an anchorer, and never changes.
/// The root is the root of an RFC 9162 SHA-256 tree whose leaves are the statements of `batches` consecutive
/// batches from `firstBatch` on; anyone holding a statement and its audit path can check it against this slot.
contract GroundtruthAnchor {
    /// @notice The root has been anchored before; its slot is left as it was.
    error AlreadyAnchored(bytes32 root);
    /// @notice The root is zero, the batches are none, or the last of them does not fit in 64 bits.
    error BadRange(bytes32 root, uint64 firstBatch, uint64 batches);
    error NotAdmin(address account);
    error NotAnchorer(address account);
    error NotPendingAdmin(address account);
    error NoAddress();

    event Anchored(bytes32 indexed root, uint64 indexed firstBatch, uint64 batches);
    event AnchorerGranted(address indexed account);
    event AnchorerRevoked(address indexed account);
    event AdminOffered(address indexed from, address indexed to);
    event AdminChanged(address indexed from, address indexed to);

    // One slot per root, from the lowest bit: firstBatch (64), batches (64), block time in s (64), 1 as the sign
    // that something is there.
    uint256 private constant PRESENT = 1 << 192;

    mapping(bytes32 root => uint256 packed) public anchors;
    mapping(address account => bool) public anchorers;
    address public admin;
    address public pendingAdmin;

    /// @param firstAdmin may grant and revoke anchorers
    /// @param firstAnchorer may anchor
    constructor(address firstAdmin, address firstAnchorer) {
        if (firstAdmin == address(0) || firstAnchorer == address(0)) revert NoAddress();
        admin = firstAdmin;
        emit AdminChanged(address(0), firstAdmin);
        anchorers[firstAnchorer] = true;
        emit AnchorerGranted(firstAnchorer);
    }

    modifier onlyAdmin() {
        if (msg.sender != admin) revert NotAdmin(msg.sender);
        _;
    }

    /// @notice Writes a root for batches `firstBatch` to `firstBatch + batches - 1`.
    function anchor(bytes32 root, uint64 firstBatch, uint64 batches) external {
        if (!anchorers[msg.sender]) revert NotAnchorer(msg.sender);
        if (root == 0 || batches == 0 || firstBatch > type(uint64).max - batches) {
            revert BadRange(root, firstBatch, batches);
        }
        if (anchors[root] != 0) revert AlreadyAnchored(root);
        anchors[root] =
            PRESENT | (uint256(uint64(block.timestamp)) << 128) | (uint256(batches) << 64) | firstBatch;
        emit Anchored(root, firstBatch, batches);
    }

    /// @notice What was written for a root; `time` is the block's, in seconds since 1970, and 0 where nothing was.
    function anchored(bytes32 root) external view returns (uint64 firstBatch, uint64 batches, uint64 time) {
        uint256 packed = anchors[root];
        return (uint64(packed), uint64(packed >> 64), uint64(packed >> 128));
    }

    function grantAnchorer(address account) external onlyAdmin {
        if (account == address(0)) revert NoAddress();
        anchorers[account] = true;
        emit AnchorerGranted(account);
    }

    function revokeAnchorer(address account) external onlyAdmin {
        anchorers[account] = false;
        emit AnchorerRevoked(account);
    }

    /// @notice Offers the admin role; it changes hands when `to` accepts, so a mistyped address loses nothing.
    /// Offering it to the zero address takes an open offer back.
    function transferAdmin(address to) external onlyAdmin {
        pendingAdmin = to;
        emit AdminOffered(msg.sender, to);
    }

    function acceptAdmin() external {
        if (msg.sender != pendingAdmin) revert NotPendingAdmin(msg.sender);
        emit AdminChanged(admin, msg.sender);
        admin = msg.sender;
        pendingAdmin = address(0);
    }
}
