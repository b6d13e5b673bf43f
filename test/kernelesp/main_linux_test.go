package kernelesp

import (
	"os"
	"testing"
)

// guestEnv tells this binary that it runs inside the other kernel, as a UE.
const guestEnv = "IMSAFE_TEST_GUEST"

func TestMain(m *testing.M) {
	if os.Getenv(guestEnv) != "" {
		os.Exit(guest())
	}
	os.Exit(m.Run())
}
