package config_test

import (
	"fmt"

	"imsafe/config"
)

// The trap that costs an evening: a leading zero.
func ExampleParse() {
	_, err := config.Parse("imsafe.toml", []byte("[ims]\nmcc = \"001\"\nmnc = 01\n"))
	fmt.Println(err)
	// Output:
	// imsafe.toml:3:7: integers cannot have leading zeroes
	//     3 | mnc = 01
	//       |       ^^
	//         write it in quotes: mnc = "01"; without them a leading zero would be lost, and 01 is not 1
}
