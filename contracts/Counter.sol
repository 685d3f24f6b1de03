// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// Counts, tells of it, and fails in every way that a caller can be told of.
contract Counter {
    event Counted(address indexed by, uint256 indexed count, string note);

    error TooMuch(uint256 asked, uint256 most);

    uint256 public count;
    address public immutable owner;

    constructor(uint256 start) payable {
        count = start;
        owner = msg.sender;
    }

    receive() external payable {}

    function add(uint256 amount, string calldata note) external payable returns (uint256) {
        if (amount > 1000) revert TooMuch(amount, 1000);
        count += amount;
        emit Counted(msg.sender, count, note);
        return count;
    }

    function refuse() external pure {
        require(false, "the counter refuses");
    }

    function panic(uint256 by) external pure returns (uint256) {
        return 1 / by;
    }

    function invalid() external pure {
        assembly {
            invalid()
        }
    }

    function spin() external pure {
        while (true) {}
    }

    function send(address payable to, uint256 amount) external {
        to.transfer(amount);
    }

    function surroundings()
        external
        view
        returns (uint256 number, uint256 time, uint256 chain, address origin, uint256 fee, bytes32 parent)
    {
        return (block.number, block.timestamp, block.chainid, tx.origin, block.basefee, blockhash(block.number - 1));
    }
}
